module longshore.invalid/pause

go 1.21
