"""Within a command's own network: opens the port that the proxy answers on, hands it to the host, becomes the command.

Started as `python -I -S -B bridge.py DESCRIPTOR PORT COMMAND…`: standard library only. A socket belongs to the network
it was made in, whoever holds it, so the host serves this one without being reachable any other way.
"""

import array
import os
import socket
import sys

_BACKLOG = 64

if __name__ == "__main__":
    host = socket.socket(fileno=int(sys.argv[1]))
    with socket.create_server(("127.0.0.1", int(sys.argv[2])), backlog=_BACKLOG) as listener, host:
        host.sendmsg([b"."], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [listener.fileno()]))])
    os.execv(sys.argv[3], sys.argv[3:])
