"""An app as Flower's quickstart for PyTorch has it: FedAvg, training and evaluation at every site."""
