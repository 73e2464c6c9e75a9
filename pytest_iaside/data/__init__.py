"""Reference samples: the images that classifiers are measured on."""
