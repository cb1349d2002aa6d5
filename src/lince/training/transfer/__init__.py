"""Transfer learning: a linear head on the features of a pretrained network, then fine-tuning from that head."""
