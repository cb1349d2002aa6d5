"""Learning from a trained model, the teacher."""
