from hypothesis import given
from hypothesis import strategies as st

from onewafer.server.values.paged import BlockPool, name_block


def fill(pool, tokens, *, size=2):
    """Take a block for each full `size` tokens, and make it known."""
    found, name = pool.find(tokens)
    blocks = list(found)
    for start in range(len(blocks) * size, len(tokens) - size + 1, size):
        blocks.append(pool.take())
        name = name_block(name, tokens[start : start + size])
        pool.name(blocks[-1], name)
    return found, blocks


def test_equal_beginnings_share_blocks():
    pool = BlockPool(10, block_tokens=2)
    _, first = fill(pool, [1, 2, 3, 4, 5])
    found, _ = fill(pool, [1, 2, 3, 4, 6, 7])

    assert found == first[:2]


def test_blocks_behind_a_difference_are_not_shared():
    pool = BlockPool(10, block_tokens=2)
    fill(pool, [1, 2, 3, 4, 5])

    assert fill(pool, [9, 2, 3, 4, 5])[0] == []


def test_the_last_token_of_a_prompt_is_always_read():
    pool = BlockPool(10, block_tokens=2)
    fill(pool, [1, 2, 3, 4])

    assert len(fill(pool, [1, 2, 3, 4])[0]) == 1


def test_the_block_that_was_not_used_for_longest_goes_first():
    pool = BlockPool(2, block_tokens=2)
    for tokens in ([1, 1, 0], [2, 2, 0]):
        pool.give_back(fill(pool, tokens)[1])
    pool.give_back(fill(pool, [1, 1, 0])[1])
    pool.give_back([pool.take()])

    assert len(pool.find([1, 1, 0])[0]) == 1
    assert pool.find([2, 2, 0])[0] == []


def test_blocks_in_use_are_not_taken():
    pool = BlockPool(3, block_tokens=2)
    _, kept = fill(pool, [1, 1, 2, 2, 0])
    others = [pool.take()]
    pool.give_back(others)

    assert pool.take() == others[0]
    assert pool.num_used == 3
    assert set(kept).isdisjoint(others)


@given(st.lists(st.tuples(st.booleans(), st.lists(st.integers(0, 1), min_size=1, max_size=7))))
def test_no_block_has_two_owners_or_none(steps):
    pool = BlockPool(12, block_tokens=2)
    running = []
    for begins, tokens in steps:
        if begins and len(running) < 4:
            running.append((tokens, fill(pool, tokens)[1]))
        elif running:
            pool.give_back(running.pop(0)[1])
        used = {block for _, blocks in running for block in blocks}
        assert pool.num_used == len(used)
        beginnings = {
            block: tuple(tokens[: 2 * index + 2])
            for tokens, blocks in running
            for index, block in enumerate(blocks)
        }
        assert all(
            beginnings[block] == tuple(tokens[: 2 * index + 2])
            for tokens, blocks in running
            for index, block in enumerate(blocks)
        )
