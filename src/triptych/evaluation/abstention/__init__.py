"""When a panel answers and when it says that it is not sure, with a promise about its errors."""
