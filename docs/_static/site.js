// Code that is wider than the page is scrolled by the keyboard too.
document.querySelectorAll("pre, .table-wrapper, div.math").forEach((box) => {
  if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
});
