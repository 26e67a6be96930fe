"""Training: recipes, spatial folds, losses, augmentation, transfer, and the run on Lightning's Trainer."""
