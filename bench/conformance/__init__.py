"""The public suite of HTTP cache tests (http-tests/cache-tests), run against a gateway that runs."""
