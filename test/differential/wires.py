"""
The far ends of a daemon's wires, for daemon-world.ts: raw sockets in pods, and UDP sockets of its peers.

  wires.py VXLAN_PORT VNI NAMESPACE:PLACE … NAMESPACE:PLACE:ADDRESS …     pods, then peers

A line `PLACE HEX …` on standard input sends these frames and answers with one line: PLACE=HEX for every frame that
came of it, anywhere. The daemon has taken all of it once it has carried a broadcast behind it, and back another.
"""
import ctypes, os, select, socket, struct, sys

libc = ctypes.CDLL(None, use_errno=True)
MARK = b"\x88\xb6"
PACKET_OUTGOING = 4
PATIENCE = 5.0
vxlan_port, vni = int(sys.argv[1]), int(sys.argv[2])
HEADER = b"\x08\0\0\0" + struct.pack("!I", vni << 8)
pods, peers, mac = {}, {}, {}


def enter(namespace):
    fd = os.open("/run/netns/" + namespace, os.O_RDONLY)
    if libc.setns(fd, 0x40000000) != 0:
        raise OSError(ctypes.get_errno(), "setns " + namespace)
    os.close(fd)


for argument in sys.argv[3:]:
    namespace, place, *address = argument.split(":")
    enter(namespace)
    if address:
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.bind((address[0], vxlan_port))
        peers[place] = s
        mac[place] = bytes([2, 0xCC, 0, 0, 0, len(peers)])
    else:
        s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        s.bind(("eth0", 0))
        pods[place] = s
        mac[place] = s.getsockname()[4]
places = {**pods, **peers}
DAEMON = ("192.0.2.1", vxlan_port)


def send(place, frame):
    if place in peers:
        peers[place].sendto(HEADER + frame, DAEMON)
    else:
        pods[place].send(frame)


def receive(place):
    if place in peers:
        return peers[place].recv(70000)[8:]
    frame, origin = pods[place].recvfrom(70000)
    return None if origin[2] == PACKET_OUTGOING else frame


def until_marked(number, wanted, heard):
    """Everything that comes until the mark has reached those places."""
    wanted = set(wanted)
    sockets = {s.fileno(): place for place, s in places.items()}
    while wanted:
        ready = select.select(list(sockets), [], [], PATIENCE)[0]
        if not ready:
            raise TimeoutError(f"mark {number} did not reach {sorted(wanted)}")
        for fd in ready:
            place = sockets[fd]
            frame = receive(place)
            if frame is None:
                continue
            if frame[12:14] == MARK:
                if frame[14:18] == struct.pack("!I", number):
                    wanted.discard(place)
            else:
                heard.append(place + "=" + frame.hex())


number = 0
print("ready", flush=True)
for line in sys.stdin:
    place, *frames = line.split()
    heard = []
    other = "a" if place != "a" else "b"
    for frame in frames:
        send(place, bytes.fromhex(frame))
    for origin, wanted in ((place, pods if place in peers else places), (other, places)):
        number += 1
        send(origin, b"\xff" * 6 + mac[origin] + MARK + struct.pack("!I", number) + bytes(42))
        until_marked(number, [p for p in wanted if p != origin], heard)
    print(" ".join(sorted(heard)), flush=True)
