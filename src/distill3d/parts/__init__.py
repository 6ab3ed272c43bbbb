"""Part Gaussians: shapes that know their parts (SPAGHETTI, Hertz et al. 2022; SALAD, Koo et al. 2023)."""
