"""Greets somebody by name: a plugin in Python."""

import json

from wit_world import exports
from wit_world.exports.tools import Batching, Call, Output, Replay, Tool
from wit_world.imports.types import Part_Text, SessionInfo

PARAMETERS = {
    "type": "object",
    "properties": {"who": {"type": "string", "description": "Who is greeted."}},
    "required": ["who"],
    "additionalProperties": False,
}


class Tools(exports.Tools):
    def catalog(self, session: SessionInfo) -> list[Tool]:
        return [Tool("greet", "Greets somebody by name.", json.dumps(PARAMETERS), Batching.PARALLEL, Replay.READ, None, None)]

    def run(self, call: Call) -> Output:
        who = json.loads(call.arguments)["who"]
        return Output([Part_Text(f"Hello, {who}!")], None, None)
