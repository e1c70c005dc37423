"""The model, its data and its training: nothing private about it."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    """30-64-2, as the seed's model."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 2))

    def forward(self, x: Tensor) -> Tensor:
        """Scores, shape (n, 2)."""
        scores: Tensor = self.layers(x)
        return scores


def load_data(path: str) -> TensorDataset:
    """Features and labels of one site."""
    table = np.load(path)
    return TensorDataset(torch.from_numpy(table["x"]).float(), torch.from_numpy(table["y"]))


def train(net: nn.Module, data: TensorDataset, steps: int, batch_size: int, lr: float) -> float:
    """So many mini-batch steps; the mean loss."""
    optimizer = torch.optim.SGD(net.parameters(), lr=lr)
    loss_of = nn.CrossEntropyLoss()
    net.train()
    total, done = 0.0, 0
    while done < steps:
        for x, y in DataLoader(data, batch_size=batch_size, shuffle=True):
            optimizer.zero_grad()
            loss = loss_of(net(x), y)
            loss.backward()
            optimizer.step()
            total, done = total + loss.item(), done + 1
            if done == steps:
                break
    return total / steps


def test(net: nn.Module, data: TensorDataset) -> tuple[float, float]:
    """Loss and accuracy."""
    x, y = data.tensors
    net.eval()
    with torch.no_grad():
        scores = net(x)
        return nn.functional.cross_entropy(scores, y).item(), (scores.argmax(1) == y).float().mean().item()
