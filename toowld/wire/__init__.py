"""The wire: messages, and how they become bytes. PURE, and the only part of toowld that clients import.

``messages`` says what can be said, ``codec`` how it looks as bytes. Neither knows sockets: whoever owns
one feeds a `FrameDecoder` and writes what `encode` returns.
"""

from toowld.wire.codec import MAX_FRAME, FrameDecoder, decode_body, encode, negotiate
from toowld.wire.messages import (
    DEFAULT_SIZE,
    VERSION_MAX,
    VERSION_MIN,
    Attached,
    Detach,
    Detached,
    Ended,
    Event,
    Failure,
    Gap,
    Hello,
    Input,
    InputAck,
    Live,
    Message,
    Output,
    Ping,
    Pong,
    Request,
    Resize,
    Response,
    Size,
    Unknown,
)
from toowld.wire.seq import SEQ_LEAP, gap_bytes, seq_after_loss

__all__ = [
    "DEFAULT_SIZE",
    "MAX_FRAME",
    "SEQ_LEAP",
    "VERSION_MAX",
    "VERSION_MIN",
    "Attached",
    "Detach",
    "Detached",
    "Ended",
    "Event",
    "Failure",
    "FrameDecoder",
    "Gap",
    "Hello",
    "Input",
    "InputAck",
    "Live",
    "Message",
    "Output",
    "Ping",
    "Pong",
    "Request",
    "Resize",
    "Response",
    "Size",
    "Unknown",
    "decode_body",
    "encode",
    "gap_bytes",
    "negotiate",
    "seq_after_loss",
]
