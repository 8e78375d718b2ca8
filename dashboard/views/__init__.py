"""The pages: a view reads through the query modules and renders a page or a part of it."""
