"""A batch in parts gives the gradients of the whole batch."""

import pytest

torch = pytest.importorskip("torch")

from client_agent.generator.gradients import BatchGradients  # noqa: E402


def loss_of(network, inputs, targets):
    return (network(inputs) - targets).square().mean()


def gradients(threads: int, images: int = 33, weights_seed: int = 0) -> list:
    torch.manual_seed(weights_seed)
    network = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 2))
    inputs, targets = torch.randn(images, 5), torch.randn(images, 2)
    batch = BatchGradients(network, 32, threads)
    value = batch.fill(loss_of, inputs, targets)
    batch.close()
    assert value == pytest.approx(loss_of(network, inputs, targets).item(), rel=1e-5)
    return [parameter.grad.clone() for parameter in network.parameters()]


@pytest.mark.parametrize("threads", [2, 3, 4, 9])
@pytest.mark.parametrize("images", [33, 32, 3, 1])
def test_parts_add_up_to_the_whole(threads: int, images: int):
    for part, whole in zip(gradients(threads, images), gradients(1, images), strict=True):
        assert torch.allclose(part, whole, atol=1e-6)


def test_the_same_number_of_threads_gives_the_same_bits():
    for first, second in zip(gradients(2), gradients(2), strict=True):
        assert torch.equal(first, second)


def test_the_copies_follow_the_weights():
    torch.manual_seed(0)
    network = torch.nn.Linear(4, 1)
    batch = BatchGradients(network, 16, threads=2)
    inputs = torch.randn(16, 4)
    targets = inputs @ torch.tensor([[1.0], [2.0], [-1.0], [0.5]])
    optimiser = torch.optim.SGD(network.parameters(), lr=0.2)
    for _ in range(200):
        value = batch.fill(loss_of, inputs, targets)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
    batch.close()
    assert value < 1e-4


def test_a_fault_in_one_part_reaches_the_caller():
    def broken(network, inputs):
        raise ValueError("broken")

    batch = BatchGradients(torch.nn.Linear(2, 1), 16, threads=2)
    with pytest.raises(ValueError, match="broken"):
        batch.fill(broken, torch.zeros(16, 2))
    batch.close()
