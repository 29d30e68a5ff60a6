"""A client on Python's h2, with windows of any size, that can break off anywhere."""
import hashlib
import socket

import h2.config
import h2.connection
import h2.events
from h2.settings import SettingCodes, Settings

# Of the protocol's begin (RFC 9113 §6.9.2); a connection's window cannot be made smaller.
FIRST = 65_535


class Broken(Exception):
    """The gate reset the stream or closed the connection."""


class Client:
    """One connection. `window` is what it lets each stream, and the connection beyond its first, have unread."""

    def __init__(self, address, window):
        host, port = address.removeprefix("http://").split(":")
        self.host, self.window = f"{host}:{port}", window
        self.tcp = socket.create_connection((host, int(port)), timeout=30)
        self.tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        # Set like this they hold from the begin; changed later, they would wait for the gate's acknowledgement.
        settings = {SettingCodes.INITIAL_WINDOW_SIZE: window, SettingCodes.ENABLE_PUSH: 0}
        self.h2.local_settings = Settings(client=True, initial_values=settings)
        self.h2.initiate_connection()
        if window > FIRST:
            self.h2.increment_flow_control_window(window - FIRST)
        self.send()

    def send(self):
        self.tcp.sendall(self.h2.data_to_send())

    def close(self):
        self.tcp.close()

    def begin(self, method, path, ended, length=None):
        stream = self.h2.get_next_available_stream_id()
        head = [(":method", method), (":scheme", "http"), (":path", path), (":authority", self.host)]
        if length is not None:
            head.append(("content-length", str(length)))
        self.h2.send_headers(stream, head, end_stream=ended)
        return stream

    def events(self):
        read = self.tcp.recv(262_144)
        if not read:
            raise Broken("the connection was closed")
        for event in self.h2.receive_data(read):
            if isinstance(event, h2.events.ConnectionTerminated):
                raise Broken(f"GOAWAY {event.error_code}")
            yield event

    def read(self, stream, stop=None):
        """The answer's status and body's hash and length. With `stop`, resets the stream after so many bytes: None."""
        status, body, length = None, hashlib.sha256(), 0
        self.send()
        while True:
            for event in self.events():
                if isinstance(event, h2.events.DataReceived):
                    # What belongs to a stream that was reset before counts for the connection all the same.
                    if event.stream_id != stream:
                        self.h2.increment_flow_control_window(event.flow_controlled_length)
                        continue
                    body.update(event.data)
                    length += len(event.data)
                    if event.flow_controlled_length:
                        self.h2.acknowledge_received_data(event.flow_controlled_length, stream)
                elif isinstance(event, h2.events.ResponseReceived) and event.stream_id == stream:
                    status = dict(event.headers)[":status"]
                elif isinstance(event, h2.events.StreamReset) and event.stream_id == stream:
                    raise Broken(f"RST_STREAM {event.error_code}")
                elif isinstance(event, h2.events.StreamEnded) and event.stream_id == stream:
                    self.send()
                    return status, body.hexdigest(), length
            if stop is not None and length >= stop:
                self.h2.reset_stream(stream, 8)
                self.send()
                return None
            self.send()

    def write(self, stream, pieces, stop=None):
        """Sends a body as there is credit; with `stop`, resets the stream after so many bytes and is False."""
        sent = 0
        for piece in pieces:
            while piece:
                if stop is not None and sent >= stop:
                    self.h2.reset_stream(stream, 8)
                    self.send()
                    return False
                credit = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size, len(piece))
                if credit <= 0:
                    self.send()
                    for event in self.events():
                        if isinstance(event, h2.events.StreamReset) and event.stream_id == stream:
                            raise Broken(f"RST_STREAM {event.error_code}")
                    continue
                if stop is not None:
                    credit = min(credit, stop - sent)
                self.h2.send_data(stream, piece[:credit])
                self.send()
                piece, sent = piece[credit:], sent + credit
        self.h2.end_stream(stream)
        self.send()
        return True
