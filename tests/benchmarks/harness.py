"""What the benchmarks share: processes with their costs, a registry, containerd, imgd, reports.

Costs are those of whole process trees: a command is charged with everything it waited for, a daemon
with the difference of its own and its children's CPU time before and after.
"""

import contextlib
import ctypes
import json
import os
import platform
import re
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent
TICKS = os.sysconf("SC_CLK_TCK")
PR_SET_PDEATHSIG = 1


@dataclass
class Cost:
    """Wall and CPU seconds, and the highest resident set in MiB of any one process."""

    wall: float
    cpu: float
    rss: float


class Failed(Exception):
    pass


def image(profile):
    """The layout directory of a test image, built on first use."""
    script = REPOSITORY / "tests/images/build-image.sh"
    done = subprocess.run([script, profile], stdout=subprocess.PIPE, text=True, check=True)
    return Path(done.stdout.strip())


def manifest_layers(layout):
    """The layer files of a layout with one image, lowest first."""

    def blob(descriptor):
        return layout / "blobs" / descriptor["digest"].replace(":", "/")

    index = json.loads((layout / "index.json").read_text())
    manifest = json.loads(blob(index["manifests"][0]).read_text())
    return [blob(layer) for layer in manifest["layers"]]


def run(command, **options):
    """Runs a command to its end and says what it cost."""
    with tempfile.TemporaryFile() as output:
        start = time.monotonic()
        child = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, **options)
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.monotonic() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            output.seek(0)
            text = output.read().decode(errors="replace")[-4000:]
            raise Failed(f"{' '.join(map(str, command))}: exit code {child.returncode}\n{text}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def until(condition, what, seconds=60, daemon=None):
    """Waits for a condition; never longer than `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if daemon is not None and daemon.process.poll() is not None:
            raise Failed(f"{what}: {daemon.name} ended with {daemon.process.returncode}\n{daemon.log()}")
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not within {seconds} s")
        time.sleep(0.005)


class Daemon:
    """A background process that dies with this one."""

    def __init__(self, name, command, log, **options):
        self.name = name
        self.log_file = log
        libc = ctypes.CDLL(None)
        with open(log, "ab") as output:
            self.process = subprocess.Popen(
                [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=output,
                stderr=output,
                preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL), **options)

    def log(self):
        return Path(self.log_file).read_text(errors="replace")[-4000:]

    def cpu(self):
        """CPU seconds of the process and of the children it waited for, so far."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text()
        fields = stat[stat.rindex(")") + 2:].split()
        return sum(int(value) for value in fields[11:15]) / TICKS

    def forget_peak(self):
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def peak(self):
        """The highest resident set since `forget_peak`, MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1)) / 1024

    def charge(self, command):
        """Runs a client and adds what the daemon spent meanwhile."""
        self.forget_peak()
        before = self.cpu()
        cost = run(command)
        return Cost(cost.wall, cost.cpu + self.cpu() - before, max(cost.rss, self.peak()))

    def close(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def accepts(path):
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
            return True
        except OSError:
            return False


class Registry(Daemon):
    """Debian's docker-registry on a free port of the loopback address."""

    def __init__(self, directory):
        directory.mkdir()
        config = directory / "config.yml"
        config.write_text(
            "version: 0.1\n"
            f"storage: {{filesystem: {{rootdirectory: {directory / 'data'}}}}}\n"
            "http: {addr: '127.0.0.1:0'}\n")
        super().__init__("docker-registry", ["docker-registry", "serve", config], directory / "log")
        self.port = 0
        until(self._listening, "docker-registry", daemon=self)

    def _listening(self):
        found = re.search(r"listening on 127\.0\.0\.1:(\d+)", self.log())
        if found:
            self.port = int(found.group(1))
        return bool(found)

    def push(self, layout, name):
        reference = f"localhost:{self.port}/{name}"
        run(["skopeo", "copy", "--quiet", "--dest-tls-verify=false", f"oci:{layout}:12",
             f"docker://{reference}"])
        return reference


class Containerd(Daemon):
    """containerd with a store of its own; only what a pull needs."""

    def __init__(self, directory):
        directory.mkdir()
        self.address = directory / "c.sock"
        config = directory / "config.toml"
        config.write_text(
            'version = 2\n'
            f'root = "{directory}/root"\nstate = "{directory}/state"\n'
            'disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.aufs",'
            ' "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",'
            ' "io.containerd.snapshotter.v1.zfs"]\n'
            f'[grpc]\naddress = "{self.address}"\n'
            f'[plugins."io.containerd.internal.v1.opt"]\npath = "{directory}/opt"\n')
        super().__init__("containerd", ["containerd", "--config", config], directory / "log")
        until(lambda: accepts(self.address), "containerd", daemon=self)


class Imgd(Daemon):
    """imgd with a store of its own."""

    def __init__(self, directory):
        directory.mkdir()
        self.root = directory / "root"
        self.address = directory / "i.sock"
        self.snapshotter_address = directory / "s.sock"
        config = directory / "config.toml"
        config.write_text('[snapshotter]\nmode = "passive"\n')
        super().__init__(
            "imgd",
            [REPOSITORY / "imgd", "--config", config, "--root", self.root, "--address", self.address,
             "--snapshotter-address", self.snapshotter_address],
            directory / "log")
        until(lambda: accepts(self.address) and accepts(self.snapshotter_address), "imgd",
              daemon=self)

    def imgctl(self, *words):
        return [REPOSITORY / "imgctl", "--address", self.address, *words]


@contextlib.contextmanager
def workspace():
    """A directory on the disk the stores would live on; gone afterwards."""
    base = os.environ.get("IMGD_BENCH_DIR", "/var/tmp")
    directory = Path(tempfile.mkdtemp(prefix="imgd-bench-", dir=base))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def settle():
    """Nothing written by the run before is left for the run to come."""
    os.sync()


def machine():
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    commit = subprocess.run(
        ["git", "-C", REPOSITORY, "rev-parse", "--short", "HEAD"], stdout=subprocess.PIPE, text=True)
    load = os.getloadavg()
    return (f"{os.cpu_count()} × {model.group(1) if model else platform.machine()}, kernel "
            f"{platform.release()}, commit {commit.stdout.strip()}, "
            f"{time.strftime('%Y-%m-%d', time.gmtime())}, load average {load[0]:.1f} at the end")


def percentile(values, fraction):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(fraction * len(ordered)))]


def median(costs):
    return Cost(
        statistics.median(cost.wall for cost in costs),
        statistics.median(cost.cpu for cost in costs),
        statistics.median(cost.rss for cost in costs))


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)
