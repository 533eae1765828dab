"""What an embedding says of the items themselves: which to label first, and which to look at again."""
