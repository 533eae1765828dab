"""What has been learnt, ready to use."""
