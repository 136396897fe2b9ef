"""The PEs that another one waits for are at the other ends of a color's routes."""

from dataclasses import replace

from onewafer.viewer.peers import peers_of
from tests.image.builder import make_image
from tests.recording.recordings import program
from tests.simulator.assembly import EAST, NORTH, RAMP, SOUTH, WEST, WSE3, eastward, route


def image_of(width, height, routes):
    placed = {(x, y): program() for y in range(height) for x in range(width)}
    return make_image(WSE3, placed, width=width, height=height, routes=routes)


def test_a_receiver_waits_for_the_sender_of_its_route():
    image = image_of(5, 1, eastward(3, 1, 4))
    peers = peers_of(image, 3, 4, 0, reason="input empty")

    assert (peers.sends, peers.pes, peers.has_more) == (True, ((1, 0),), False)
    assert peers_of(image, 3, 0, 0, reason="input empty").pes == ()
    assert peers_of(image, 3, 4, 0, reason="data path") is None


def test_a_sender_waits_for_all_that_receive_the_nearest_first():
    routes = eastward(3, 0, 19) | {(x, 0, 3): route(WEST, RAMP, EAST) for x in range(1, 19)}
    peers = peers_of(image_of(20, 1, routes), 3, 0, 0, reason="no credit")

    assert not peers.sends
    assert peers.pes == tuple((x, 0) for x in range(1, 9))
    assert peers.has_more


def test_two_senders_may_meet():
    routes = eastward(3, 0, 2)
    routes |= {(1, 0, 3): route((WEST, SOUTH), EAST), (1, 1, 3): route(RAMP, NORTH)}
    found = peers_of(image_of(3, 2, routes), 3, 2, 0, reason="input empty").pes
    assert set(found) == {(0, 0), (1, 1)}


def test_the_host_may_be_the_sender():
    routes = eastward(3, 0, 2)
    routes[0, 0, 3] = replace(routes[0, 0, 3], from_host=True)
    peers = peers_of(image_of(3, 1, routes), 3, 2, 0, reason="input empty")
    assert (peers.pes, peers.has_host) == ((), True)


def test_a_link_may_swap_the_colors_of_a_pair():
    routes = {
        (0, 0, 2): route(RAMP, EAST),
        (1, 0, 3): replace(route(WEST, RAMP), swap_mask=1 << WEST),
    }
    image = image_of(2, 1, routes)
    assert peers_of(image, 3, 1, 0, reason="input empty").pes == ((0, 0),)
    assert peers_of(image, 2, 0, 0, reason="output full").pes == ((1, 0),)
