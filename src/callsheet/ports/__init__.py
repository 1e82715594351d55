"""The verbs, as Protocols. Rooms implement them, `app` introduces them to each other; nobody else names a class."""

from callsheet.ports.agents import AgentBackend, AgentHandle, AgentReporter, Approver, Executor
from callsheet.ports.runs import EventSink, RunControls, Store
from callsheet.ports.scripts import DraftGate, ScriptHost, ScriptSession, WorkflowLibrary
from callsheet.ports.workspaces import CheckpointTaker, CommandConfinement, WorkPlace, Workspaces

__all__ = [
    "AgentBackend",
    "AgentHandle",
    "AgentReporter",
    "Approver",
    "CheckpointTaker",
    "CommandConfinement",
    "DraftGate",
    "EventSink",
    "Executor",
    "RunControls",
    "ScriptHost",
    "ScriptSession",
    "Store",
    "WorkPlace",
    "WorkflowLibrary",
    "Workspaces",
]
