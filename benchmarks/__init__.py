"""What a tick costs: our mechanisms, their alternatives and the floor, over a long history."""
