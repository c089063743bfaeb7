package dev.imgd.registry;

import dev.imgd.hosts.TlsSettings;
import dev.imgd.model.ImageException;
import dev.imgd.model.Text;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import okhttp3.Credentials;
import okhttp3.HttpUrl;
import org.jspecify.annotations.Nullable;

/// Through which HTTP proxies servers are reached. Immutable.
///
/// Servers on a loopback address and names of this host never are; which others are not says
/// `NO_PROXY`. A proxy may be asked over TLS (`https://`) and may want a user name and a password,
/// which are never shown. **Source:** golang.org/x/net/http/httpproxy.
public final class Proxies {
    private static final String WANTED =
            "the URL of a proxy such as http://proxy.lan:3128, or https:// for one that speaks TLS";

    /// A proxy and who says that it is used.
    ///
    /// @param setting the variable or the key that names it
    /// @param url with user name and password
    record ProxyUrl(String setting, HttpUrl url) {
        /// `host:port`; nothing secret.
        String place() {
            String host = url.host().indexOf(':') >= 0 ? '[' + url.host() + ']' : url.host();
            return host + ':' + url.port();
        }

        /// `Proxy-Authorization`, or null where the URL has no user.
        @Nullable String authorization() {
            return url.username().isEmpty() && url.password().isEmpty()
                    ? null
                    : Credentials.basic(url.username(), url.password(), StandardCharsets.UTF_8);
        }

        @Override
        public String toString() {
            return place();
        }
    }

    /// Something that is read when a server of its scheme is first asked: a variable that is wrong
    /// must not stop what asks nobody.
    private record Setting(String name, String text) {
        static final Setting ABSENT = new Setting("", "");
    }

    private static final Proxies NONE =
            new Proxies(Setting.ABSENT, Setting.ABSENT, "", List.of(), TlsSettings.SYSTEM);

    private final Setting https;
    private final Setting http;
    private final String exceptSetting;
    private final List<String> except;
    private final TlsSettings tls;
    private volatile @Nullable Bypass bypass;

    private Proxies(
            Setting https,
            Setting http,
            String exceptSetting,
            List<String> except,
            TlsSettings tls) {
        this.https = https;
        this.http = http;
        this.exceptSetting = exceptSetting;
        this.except = List.copyOf(except);
        this.tls = tls;
    }

    /// Every server is reached directly.
    public static Proxies none() {
        return NONE;
    }

    /// As the variables `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` say, or those in lower case.
    /// What is wrong about them is told when a server is asked.
    ///
    /// @param environment usually [System#getenv()]
    public static Proxies environment(Map<String, String> environment) {
        Setting no = setting(environment, "NO_PROXY");
        return new Proxies(
                setting(environment, "HTTPS_PROXY"),
                setting(environment, "HTTP_PROXY"),
                no.name(),
                List.of(no.text().split(",", -1)),
                TlsSettings.SYSTEM);
    }

    private static Setting setting(Map<String, String> environment, String variable) {
        for (String name : List.of(variable, variable.toLowerCase(Locale.ROOT))) {
            String value = environment.getOrDefault(name, "");
            if (!value.isEmpty()) {
                return new Setting(name, value);
            }
        }
        return Setting.ABSENT;
    }

    /// These, with another proxy for `https` servers.
    ///
    /// @param setting names it in errors
    /// @param url empty for none
    public Proxies withHttps(String setting, String url) {
        return new Proxies(new Setting(setting, url), http, exceptSetting, except, tls);
    }

    /// These, with another proxy for `http` servers.
    ///
    /// @param setting names it in errors
    /// @param url empty for none
    public Proxies withHttp(String setting, String url) {
        return new Proxies(https, new Setting(setting, url), exceptSetting, except, tls);
    }

    /// These, with other servers that are reached directly.
    ///
    /// @param setting names them in errors
    public Proxies withExcept(String setting, Set<String> entries) {
        return new Proxies(https, http, setting, List.copyOf(entries), tls);
    }

    /// These, where proxies that speak TLS are trusted by other authorities than the system's.
    public Proxies withTls(TlsSettings settings) {
        return new Proxies(https, http, exceptSetting, except, settings);
    }

    /// Checks what [#withHttps] takes, apart from the empty string.
    ///
    /// @throws ImageException naming the setting, without user name and password
    public static void check(String setting, String url) throws ImageException {
        parse(new Setting(setting, url));
    }

    /// Checks what [#withExcept] takes.
    public static void checkExcept(String setting, Set<String> entries) throws ImageException {
        Bypass.parse(setting, entries);
    }

    /// The URL of a proxy without its password.
    public static String printable(String url) {
        int end = url.lastIndexOf('@');
        int start = url.indexOf("//") + 2;
        int colon = url.indexOf(':', start < 2 ? 0 : start);
        return end < 0 || colon < 0 || colon > end
                ? url
                : url.substring(0, colon) + ":***" + url.substring(end);
    }

    /// The proxy for a URL as `host:port`; empty for a server that is reached directly.
    ///
    /// @throws ImageException when the setting that decides is wrong
    public Optional<String> placeFor(String url) throws ImageException {
        HttpUrl parsed = HttpUrl.parse(url);
        if (parsed == null) {
            throw new IllegalArgumentException("not a URL");
        }
        return Optional.ofNullable(of(parsed)).map(ProxyUrl::place);
    }

    /// Whether no server is ever reached through a proxy.
    boolean isEmpty() {
        return https.text().isEmpty() && http.text().isEmpty();
    }

    /// Authorities for proxies that speak TLS.
    TlsSettings tls() {
        return tls;
    }

    /// The proxy for a URL, or null.
    ///
    /// @throws ImageException when the setting that decides is wrong
    @Nullable ProxyUrl of(HttpUrl url) throws ImageException {
        Setting setting = url.isHttps() ? https : http;
        if (setting.text().isEmpty() || Urls.range(url.host()) == AddressRange.LOOPBACK) {
            return null;
        }
        Bypass known = bypass;
        if (known == null) {
            known = Bypass.parse(exceptSetting, except);
            bypass = known;
        }
        return known.covers(url.host(), url.port()) ? null : parse(setting);
    }

    private static ProxyUrl parse(Setting setting) throws ImageException {
        String text = setting.text().strip();
        int scheme = text.indexOf("://");
        HttpUrl url = HttpUrl.parse(scheme < 0 ? "http://" + text : text);
        if (url == null || url.query() != null || url.fragment() != null) {
            // What stands before the last @ may be a password, however wrong the rest is.
            String shown = text.substring(text.lastIndexOf('@') + 1);
            throw ImageException.invalidArgument(
                    "%s: wanted %s, got \"%s\""
                            .formatted(
                                    setting.name(),
                                    WANTED,
                                    Text.printable(
                                            scheme < 0 || shown.equals(text)
                                                    ? shown
                                                    : text.substring(0, scheme) + "://" + shown,
                                            80)));
        }
        return new ProxyUrl(setting.name(), url);
    }
}
