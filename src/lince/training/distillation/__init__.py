"""Distillation: learning from a trained model, the teacher."""
