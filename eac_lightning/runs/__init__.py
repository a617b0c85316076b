"""What a run keeps in its folder, so that it goes on after any interruption as if there had been none."""
