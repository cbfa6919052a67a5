"""Who may reach a running server, and for what: addresses, TLS, what of Triton's protocol is closed."""
