//! Accepts connections, speaks HTTP/1.1 and HTTP/2, and watches for clients that go.
