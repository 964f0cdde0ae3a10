"""From gRPC's status to the agent's errors: one clear line with the endpoint and what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

import grpc

from client_agent.errors import AgentError, IdentityError, NetworkError, RefusedError
from client_agent.relay.calls import StalledError
from client_agent.relay.faults import DamagedTransferError

_Code = grpc.StatusCode
_RERUN = "nothing is lost: run the same command again once it is back"
_TLS_SIGNS = ("handshake", "ssl_", "certificate", "tsi_", "tls")
_DNS_SIGNS = ("errors resolving", "dns resolution failed", "name resolution", "domain name")
_PROXY_SIGN = "http proxy returned response code"
_NAME_SIGNS = ("hostname verification", "peer name", "not in peer certificate")


class CoordinatorUnreachableError(NetworkError):
    """Nothing answers at the endpoint, or the connection broke."""


class WrongServerError(NetworkError):
    """Something answers at the endpoint, but it is not our coordinator, or not our version."""

    transient = False


class PeerUntrustedError(IdentityError):
    """The TLS handshake failed: a certificate of either side was refused."""


@contextmanager
def translated(endpoint: str) -> Iterator[None]:
    """Turn what gRPC's calls raise inside into the agent's errors."""
    try:
        yield
    except grpc.RpcError as error:
        raise translate(error, endpoint) from error
    except StalledError as error:
        raise CoordinatorUnreachableError(
            f"coordinator {endpoint}: no progress for {error.args[0]:.0f} s",
            hint=f"the line may be cut or too slow; {_RERUN}",
        ) from error


def translate(error: grpc.RpcError, endpoint: str) -> AgentError:
    """Turn what gRPC raised into an error that says who must do what.

    Args:
        error: from a call to the coordinator.
        endpoint: `host:port` that was dialled.
    """
    code = error.code() if isinstance(error, grpc.Call) else _Code.UNKNOWN
    text = (error.details() if isinstance(error, grpc.Call) else str(error)) or code.name
    if code == _Code.UNAVAILABLE:
        return _unavailable(text, endpoint)
    if code == _Code.DEADLINE_EXCEEDED:
        return CoordinatorUnreachableError(
            f"coordinator {endpoint} does not answer", hint=f"check address and firewall; {_RERUN}"
        )
    if code in (_Code.UNAUTHENTICATED, _Code.PERMISSION_DENIED):
        return IdentityError(f"coordinator {endpoint} refuses this site: {text}")
    if code in (_Code.FAILED_PRECONDITION, _Code.INVALID_ARGUMENT, _Code.ALREADY_EXISTS):
        return RefusedError(f"coordinator {endpoint} refuses it: {text}")
    if code == _Code.NOT_FOUND:
        return DamagedTransferError(f"coordinator {endpoint}: {text}", hint="tell its operator")
    if code == _Code.UNIMPLEMENTED:
        return WrongServerError(
            f"coordinator {endpoint} speaks another version of the protocol",
            hint="install the version that the consortium's operator names",
        )
    if code == _Code.RESOURCE_EXHAUSTED and "x-limit" in (metadata := _trailing(error)):
        # A limit of this site's own: but for the rate of calls, waiting does not help.
        if "x-again-after" in metadata:
            return CoordinatorUnreachableError(f"coordinator {endpoint} asks to wait: {text}")
        return RefusedError(f"coordinator {endpoint} refuses it: {text}")
    if code == _Code.RESOURCE_EXHAUSTED:
        return CoordinatorUnreachableError(
            f"coordinator {endpoint} cannot take it: {text}", hint=f"tell its operator; {_RERUN}"
        )
    return CoordinatorUnreachableError(f"coordinator {endpoint}: {text[:300]}", hint=_RERUN)


def _trailing(error: grpc.RpcError) -> dict[str, str]:
    pairs = error.trailing_metadata() if isinstance(error, grpc.Call) else None
    return {str(key): str(value) for key, value in pairs or ()}


def _unavailable(text: str, endpoint: str) -> AgentError:
    lower = text.lower()
    if any(sign in lower for sign in _NAME_SIGNS):
        return PeerUntrustedError(
            f"the server at {endpoint} is not the one that was expected: its certificate is for "
            "another name",
            hint="check the address; the operator adds names with ff-coordinator init --host",
        )
    if any(sign in lower for sign in _DNS_SIGNS):
        return _unresolved(lower, endpoint)
    if _PROXY_SIGN in lower:
        return _proxy(lower.rpartition(_PROXY_SIGN)[2].strip()[:3], endpoint)
    if "connection refused" in lower:
        return _unreachable(endpoint, "connection refused")
    if "handshake read failed" in lower and ("reset" in lower or "socket closed" in lower):
        return _unreachable(endpoint, "the connection was cut during the TLS handshake")
    if "handshake read failed" in lower or "handshake timed out" in lower:
        return _unreachable(endpoint, "it accepts connections but does not answer")
    if "socket closed" in lower:
        return _unreachable(
            endpoint, "it closed the connection (it is going down, or refuses our certificate)"
        )
    if "wrong_version_number" in lower or "http_request" in lower:
        return WrongServerError(
            f"the server at {endpoint} does not speak TLS: it is not a coordinator",
            hint="check address and port",
        )
    if any(sign in lower for sign in _TLS_SIGNS):
        return PeerUntrustedError(
            f"no trusted connection to {endpoint}: {_handshake(lower)}",
            hint="ff-agent doctor finds out which it is: address, interception, clock, certificate",
        )
    return _unreachable(endpoint, _last(text))


def _unresolved(lower: str, endpoint: str) -> NetworkError:
    """A name that does not exist stays so; name servers that do not answer may come back."""
    asked = lower.partition("errors resolving ")[2].partition(": ")[0]
    whose = "its name" if asked in ("", endpoint.lower()) else f"the proxy's name {asked}"
    if "timeout" in lower or "could not contact" in lower or "refused" in lower:
        return _unreachable(endpoint, f"{whose} cannot be resolved now: no name server answers")
    return WrongServerError(
        f"coordinator {endpoint} is not reachable: {whose} cannot be resolved",
        hint="check the name in site.yaml or in the invitation, and this machine's DNS: "
        "ff-agent doctor",
    )


def _proxy(status: str, endpoint: str) -> NetworkError:
    text = f"coordinator {endpoint} is not reachable: the proxy of site.yaml answers {status}"
    if status.startswith("5"):
        return CoordinatorUnreachableError(text, hint=f"check proxy and coordinator; {_RERUN}")
    wish = "check its user and password" if status == "407" else "ask that it lets CONNECT through"
    return WrongServerError(text, hint=f"{wish}; ff-agent doctor says more")


def _handshake(lower: str) -> str:
    if "certificate_verify_failed" in lower or "verify failed" in lower:
        return "its certificate is not of this federation, or has expired"
    if "certificate_required" in lower or "unknown_ca" in lower or "bad_certificate" in lower:
        return "it refuses this site's certificate"
    return "the TLS handshake failed"


def _unreachable(endpoint: str, reason: str) -> NetworkError:
    return CoordinatorUnreachableError(
        f"coordinator {endpoint} is not reachable: {reason}",
        hint=f"check that it runs and that no firewall is between (ff-agent doctor); {_RERUN}",
    )


def _last(text: str) -> str:
    return text.rsplit("last error:", 1)[-1].strip()[:200]
