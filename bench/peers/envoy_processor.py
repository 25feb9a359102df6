"""An external processor for Envoy: `envoy_processor.py PORT` protects each request's body.

The messages are those of `envoy.service.ext_proc.v3`, as far as they are spoken here.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

sys.path.insert(0, str(Path(__file__).parent))

from protecting import protect

_METHOD = "envoy.service.ext_proc.v3.ExternalProcessor"
_BYTES = descriptor_pb2.FieldDescriptorProto.TYPE_BYTES
_MESSAGE = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE


def _messages() -> list[type[Message]]:
    """Make the two messages that are exchanged, of the fields that this processor reads and writes."""
    file = descriptor_pb2.FileDescriptorProto(
        name="spoken.proto", package="spoken", syntax="proto3"
    )

    def message(name: str, **fields: tuple[int, str]) -> None:
        made = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            one = made.field.add(name=field, number=number, label=1)
            one.type = _BYTES if kind == "bytes" else _MESSAGE
            if kind != "bytes":
                one.type_name = f".spoken.{kind}"

    message("HttpBody", body=(1, "bytes"))
    message("ProcessingRequest", request_body=(4, "HttpBody"))
    message("BodyMutation", body=(1, "bytes"))
    message("CommonResponse", body_mutation=(3, "BodyMutation"))
    message("BodyResponse", response=(1, "CommonResponse"))
    message("ProcessingResponse", request_body=(3, "BodyResponse"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    named = (f"spoken.{name}" for name in ("ProcessingRequest", "ProcessingResponse"))
    return [message_factory.GetMessageClass(pool.FindMessageTypeByName(name)) for name in named]


REQUEST, RESPONSE = _messages()


async def _process(requests: AsyncIterator[REQUEST], _context: object) -> AsyncIterator[RESPONSE]:
    async for request in requests:
        answer = RESPONSE()
        answer.request_body.response.body_mutation.body = protect(request.request_body.body)
        yield answer


async def _serve(port: int) -> None:
    server = grpc.aio.server()
    handler = grpc.stream_stream_rpc_method_handler(
        _process,
        request_deserializer=REQUEST.FromString,
        response_serializer=RESPONSE.SerializeToString,
    )
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(_METHOD, {"Process": handler}),)
    )
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


asyncio.run(_serve(int(sys.argv[1])))
