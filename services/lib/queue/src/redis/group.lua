-- KEYS: jobs. Makes the group of a lane that has none.
make_group(KEYS[1])
return 1
