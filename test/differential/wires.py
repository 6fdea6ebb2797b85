"""
The far ends of a daemon's wires, for daemon-world.ts: raw sockets in pods and at the router outside, and UDP sockets
of its peers.

  wires.py VXLAN_PORT VNI NAMESPACE:POD:INTERFACE … NAMESPACE:PLACE:INTERFACE:MAC:HOSTMAC NAMESPACE:PEER:ADDRESS …

The place outside hears only what is for its MAC.

A line `PLACE HEX …` on standard input sends these frames and answers with one line: PLACE=HEX for every frame that
came of it, anywhere. The daemon has taken all of it once it has carried a broadcast behind it, and back another; the
host's kernel, once it has answered an echo request from outside.
"""
import ctypes, os, select, socket, struct, sys

libc = ctypes.CDLL(None, use_errno=True)
MARK = b"\x88\xb6"
PACKET_OUTGOING = 4
SOL_PACKET, PACKET_AUXDATA, CHECKSUM_IS_OPEN = 263, 8, 8
CHECKSUM_AT = {6: 16, 17: 6, 58: 2}
PATIENCE = 5.0
vxlan_port, vni = int(sys.argv[1]), int(sys.argv[2])
HEADER = b"\x08\0\0\0" + struct.pack("!I", vni << 8)
pods, outside, peers, mac = {}, {}, {}, {}


def enter(namespace):
    fd = os.open("/run/netns/" + namespace, os.O_RDONLY)
    if libc.setns(fd, 0x40000000) != 0:
        raise OSError(ctypes.get_errno(), "setns " + namespace)
    os.close(fd)


for argument in sys.argv[3:]:
    namespace, place, where, *own = argument.split(":")
    enter(namespace)
    if "." in where:
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.bind((where, vxlan_port))
        peers[place] = s
        mac[place] = bytes([2, 0xCC, 0, 0, 0, len(peers)])
        continue
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    s.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
    s.bind((where, 0))
    (outside if own else pods)[place] = s
    if own:
        host_mac = bytes.fromhex(own[1])
    mac[place] = bytes.fromhex(own[0]) if own else s.getsockname()[4]
bridged = {**pods, **peers}
places = {**bridged, **outside}
DAEMON = ("192.0.2.1", vxlan_port)


def send(place, frame):
    if place in peers:
        peers[place].sendto(HEADER + frame, DAEMON)
    else:
        places[place].send(frame)


def receive(place):
    if place in peers:
        return peers[place].recv(70000)[8:]
    frame, about, _, origin = places[place].recvmsg(70000, 64)
    if origin[2] == PACKET_OUTGOING or (place in outside and frame[0:6] != mac[place]):
        return None
    if is_membership(frame):
        return None
    is_open = any(struct.unpack_from("I", data)[0] & CHECKSUM_IS_OPEN for _, _, data in about)
    return closed(frame) if is_open else frame


def is_membership(frame):
    """Reports of multicast groups, MLD: a kernel sends them when it likes."""
    return frame[12:14] == b"\x86\xdd" and frame[20] == 0 and frame[62] in (131, 143)


def closed(frame):
    """A frame of a kernel's own whose transport checksum was left to the card."""
    is_v6 = frame[12:14] == b"\x86\xdd"
    l4 = 54 if is_v6 else 34
    protocol = frame[20 if is_v6 else 23]
    end = 14 + (40 + struct.unpack_from("!H", frame, 18)[0] if is_v6 else struct.unpack_from("!H", frame, 16)[0])
    at = l4 + CHECKSUM_AT[protocol]
    addresses = frame[22:54] if is_v6 else frame[26:34]
    body = frame[l4:at] + b"\0\0" + frame[at + 2 : end]
    covered = addresses + struct.pack("!II", end - l4, protocol) + body
    return frame[:at] + checksum(covered) + frame[at + 2 :]


def checksum(data):
    total = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) & 1)))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!H", ~total & 0xFFFF)


def echo(place, number):
    """A question to the host from the router outside."""
    ends = socket.inet_aton("192.0.2.254") + socket.inet_aton(DAEMON[0])
    ip = struct.pack("!BBHHHBB", 0x45, 0, 32, 0, 0, 64, 1)
    body = MARK + struct.pack("!IH", number, 0)
    icmp = b"\x08\0" + checksum(b"\x08\0" + MARK + body) + MARK + body
    return host_mac + mac[place] + b"\x08\0" + ip + checksum(ip + ends) + ends + icmp


def is_mark(place, frame):
    return frame[34:36] == b"\0\0" and frame[38:42] == MARK * 2 if place in outside else frame[12:14] == MARK


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
            if is_mark(place, frame):
                at = 42 if place in outside else 14
                if frame[at : at + 4] == struct.pack("!I", number):
                    wanted.discard(place)
            else:
                heard.append(place + "=" + frame.hex())


def pass_host(heard):
    global number
    for place in outside:
        number += 1
        send(place, echo(place, number))
        until_marked(number, [place], heard)


number = 0
print("ready", flush=True)
for line in sys.stdin:
    place, *frames = line.split()
    heard = []
    for frame in frames:
        send(place, bytes.fromhex(frame))
    pass_host(heard)
    # behind the frame, where broadcasts go behind it
    first = place if place in bridged else "b"
    second = "a" if first != "a" else "b"
    for origin, wanted in ((first, pods if first in peers else bridged), (second, bridged)):
        number += 1
        send(origin, b"\xff" * 6 + mac[origin] + MARK + struct.pack("!I", number) + bytes(42))
        until_marked(number, [p for p in wanted if p != origin], heard)
    pass_host(heard)
    print(" ".join(sorted(heard)), flush=True)
