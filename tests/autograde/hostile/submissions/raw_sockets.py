# Opens raw, packet, netlink and datagram sockets and looks for an interface.
# ruff: noqa

# %%
import socket

for family, kind in ((17, 3), (16, 3), (2, 3), (2, 2), (10, 2), (40, 1), (38, 5)):
    try:
        with socket.socket(family, kind) as line:
            line.sendto(b"x", ("127.0.0.1", PORT))
            print("sent", family, kind)
    except (OSError, TypeError) as error:
        print(error)
print("tried", socket.if_nameindex() if hasattr(socket, "if_nameindex") else "")
