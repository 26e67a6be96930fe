"""Train models: recipes, spatial folds, augmentation, losses, transfer, and runs on Lightning's Trainer."""
