"""Tables, charts and pages about runs and datasets: what people read. Nothing is measured here."""
