"""S1 and S8: the surrogate's gradient is the given one."""

import torch

from distill3d.guidance.surrogate import surrogate_loss


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_s1_its_gradient_is_exactly_the_given_one_over_the_batch():
    x, gradient = (1000 * draw(4, 3, 5, 5)).requires_grad_(), 1e-3 * draw(4, 3, 5, 5, seed=1)
    surrogate_loss(x, gradient).backward()
    assert torch.equal(x.grad, gradient / 4)
    # Negative control: the squared error to a moved target loses the gradient's last bits.
    y = x.detach().clone().requires_grad_()
    (0.5 * (y - (y - gradient).detach()).square().sum() / 4).backward()
    assert not torch.equal(y.grad, gradient / 4)


def test_its_value_is_that_of_the_squared_error():
    gradient = draw(4, 3)
    loss = surrogate_loss(draw(4, 3, seed=1).requires_grad_(), gradient)
    assert torch.allclose(loss, 0.5 * gradient.square().sum() / 4)


def test_s8_parameters_get_the_renderers_jacobian_times_the_gradient():
    parameter, gradient = draw(6).double().requires_grad_(), draw(2, 6, seed=1).double()

    def render(p):
        return torch.stack([p.sin(), p.square()])

    surrogate_loss(render(parameter), gradient).backward()
    jacobian = torch.autograd.functional.jacobian(render, parameter.detach())
    assert torch.allclose(parameter.grad, torch.einsum("bi,bij->j", gradient, jacobian) / 2, atol=1e-14)


def test_no_gradient_flows_through_the_gradient():
    x, w = draw(2, 3).requires_grad_(), draw(2, 3).requires_grad_()
    surrogate_loss(x, w * 2).backward()
    assert w.grad is None
