//! The echo backend: says what request arrived, over HTTP/1, HTTP/2, h2c, gRPC and WebSocket.
