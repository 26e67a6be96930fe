"""What can be known about labels before a network sees them."""
