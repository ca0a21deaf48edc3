"""Forward, backward, predict, save, load. No settings, no paths, no tracker."""
