# Connects to a port on this machine that hands out a secret.
# ruff: noqa

# %%
import socket, urllib.request

print("tried")
for address in (("127.0.0.1", PORT), ("::1", PORT), ("0.0.0.0", PORT), ("localhost", PORT)):
    try:
        with socket.create_connection(address, 1) as line:
            print(line.recv(100))
    except OSError as error:
        print(error)
