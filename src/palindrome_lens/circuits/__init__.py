"""What the attention layer does: tables, interventions, verdicts."""
