"""The xfer protocol, version 1, a second time: written from PROTOCOL.md alone.

Standard library and `cryptography` only. It checks that the text is enough and that the golden vectors mean what it
says; it is no product: one path, one transfer, no congestion control to speak of.
"""
