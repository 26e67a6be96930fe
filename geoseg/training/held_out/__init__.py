"""What a trained network says of ground that it has not seen."""
