package dev.imgd.e2e;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

/// What a service manager is told, and the unit that systemd is given.
@Tag("root")
class ServiceManagerIT {
    /// Receives as a service manager does, and tries the sockets of the daemon that says it is
    /// ready.
    private static final String RECEIVER =
            """
            use strict; use Socket; $| = 1;
            my ($name, @sockets) = @ARGV;
            $name =~ s/^@/\\0/;
            socket(my $manager, AF_UNIX, SOCK_DGRAM, 0) || die $!;
            bind($manager, sockaddr_un($name)) || die $!;
            print "bound\\n";
            while (defined recv($manager, my $message, 4096, 0)) {
                for my $path ($message eq "READY=1" ? @sockets : ()) {
                    socket(my $daemon, AF_UNIX, SOCK_STREAM, 0) || die $!;
                    connect($daemon, sockaddr_un($path)) || die "$path: $!";
                }
                print "$message\\n";
                last if $message eq "STOPPING=1";
            }
            """;

    @RegisterExtension final Workspace workspace = new Workspace();

    @Test
    void imgd_startedByAServiceManager_saysWhenItIsReadyAndWhenItStops() throws Exception {
        assertTold(workspace.path("notify.sock").toString(), "a");
        assertTold("@" + workspace.path("notify"), "b");
    }

    private void assertTold(String address, String directory) throws Exception {
        Imgd.Place place = new Imgd.Place(workspace.path(directory));
        Path log = workspace.path(directory + ".log");
        Background manager =
                workspace.keep(
                        new Background(
                                "service manager",
                                log,
                                "perl",
                                "-e",
                                RECEIVER,
                                address,
                                place.address(),
                                place.snapshotterAddress()));
        manager.await(() -> manager.log().contains("bound"));
        Imgd imgd =
                workspace.keep(
                        Imgd.start(
                                place.directory(),
                                Imgd.Mode.PASSIVE,
                                Map.of("NOTIFY_SOCKET", address)));
        manager.await(() -> manager.log().contains("READY=1"));
        assertEquals(0, imgd.terminate());
        Await.until("the end is known", Duration.ofSeconds(10), () -> !manager.isAlive());
        assertEquals(List.of("bound", "READY=1", "STOPPING=1"), manager.log().lines().toList());
    }

    @Test
    void imgd_whoseServiceManagerIsGone_servesAllTheSame() throws Exception {
        Imgd imgd =
                workspace.keep(
                        Imgd.start(
                                workspace.path("d"),
                                Imgd.Mode.PASSIVE,
                                Map.of("NOTIFY_SOCKET", workspace.path("nobody.sock").toString())));
        imgd.imgctl().ok("ls");
        assertEquals(0, imgd.terminate());
        assertTrue(imgd.log().contains("cannot tell the service manager READY=1"), imgd.log());
    }

    @Test
    void unit_isOneThatSystemdTakes() throws Exception {
        String unit = Files.readString(Installation.HOME.resolve("contrib/systemd/imgd.service"));
        assertTrue(unit.contains("ExecStart=/opt/imgd/imgd\n"), unit);
        Path file = workspace.path("imgd.service");
        Files.writeString(
                file, unit.replace("/opt/imgd/imgd\n", Installation.IMGD + System.lineSeparator()));
        Program.Finished verified = Program.of("systemd-analyze", "verify", file).run();
        verified.expectExit(0);
        // Unknown keys are only warned of.
        assertEquals("", verified.out() + verified.err());
    }
}
