def minimum_norm_page(cells):
    return ""
