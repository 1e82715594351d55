from __future__ import annotations

import subprocess
import sys

import pytest

_ROOMS = ("callsheet.agents.web", "callsheet.agents.mcp", "html_to_markdown", "mcp")

HEAVY = ("anthropic", "httpx2", "pydantic", "jsonschema_rs", "genai_prices", "boto3", "botocore", "google.auth")


@pytest.mark.parametrize(
    "use",
    [
        "from callsheet.agents.anthropic import AnthropicBackend; AnthropicBackend().default_model()",
        "from callsheet.agents.offline import OfflineBackend; OfflineBackend().name",
        "from callsheet.agents.credentials import has_credentials; has_credentials({})",
        "from callsheet.agents.services import SERVICES, access; [access(each, {}) for each in SERVICES]",
    ],
)
def test_making_a_backend_and_looking_for_credentials_imports_no_client(use: str) -> None:
    check = f"import sys; {use}; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"


def test_agents_that_fetch_no_page_load_nothing_of_the_web() -> None:
    use = (
        "import sys; from callsheet.agents.anthropic import AnthropicBackend; AnthropicBackend(); "
        "import callsheet.agents.anthropic.machinery; from callsheet.agents.tools.inputs import tool_definitions; "
        "tool_definitions()"
    )
    check = f"{use}; print([name for name in {_ROOMS} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"
