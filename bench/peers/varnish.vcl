# Varnish as a cache before the provider: names the consumer by its token, allows by method and path,
# keeps consumers apart, attaches the provider's credential. It speaks no TLS to the provider.
vcl 4.1;

backend provider {
    .host = "127.0.0.1";
    .port = "@{PROVIDER_PLAIN_PORT}";
}

sub vcl_recv {
    if (req.http.Authorization != "@{TOKEN}") {
        return (synth(401));
    }
    if (req.method != "GET" || req.url !~ "^/v1/items/") {
        return (synth(403));
    }
    unset req.http.Authorization;
    set req.http.X-Consumer = "shop";
    return (hash);
}

sub vcl_hash {
    hash_data(req.http.X-Consumer);
}

sub vcl_backend_fetch {
    set bereq.http.Host = "@{PROVIDER_NAME}";
    set bereq.http.Authorization = "@{CREDENTIAL}";
    unset bereq.http.X-Consumer;
}
