#!/usr/bin/env python3
"""Brings up the loopback interface of the network namespace that it runs in; `ip` is not installed everywhere."""
import fcntl
import socket
import struct

SIOCSIFFLAGS, UP, RUNNING = 0x8914, 0x1, 0x40
with socket.socket() as any_socket:
    fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", UP | RUNNING))
