//! HTTP over sockets: Request, Response, Body, Handler, server, client connections, TLS
