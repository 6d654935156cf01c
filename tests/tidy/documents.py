"""Documents must agree with the code: format tables, links, decision notes, the layer table."""
import ast
import operator
import re

from layers import RANK

CONSTANTS_MARK = re.compile(r"<!--\s*constants:\s*(\S+)\s*-->")
LAYOUT_MARK = re.compile(r"<!--\s*layout:\s*(\S+)\s+(\w+)\s*-->")
LINK = re.compile(r"\]\(([^)\s]+)\)")
DECISION_NAME = re.compile(r"^docs/decisions/\d{4}-[a-z0-9-]+\.md$")
DECISION_PARTS = ("Status:", "Problem:", "Decision:", "Instead of:", "Price:", "Shown by:")
CONSTANT = re.compile(
    r"\bconstexpr\s+[\w:]+(?:\s+[\w:]+)*\s+(k\w+)\s*(?:=|\{)\s*([^;]*?)\}?;", re.S)
OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
             ast.FloorDiv: operator.floordiv, ast.Div: operator.floordiv,
             ast.LShift: operator.lshift, ast.RShift: operator.rshift, ast.BitOr: operator.or_}


def check(files):
    by_path = {file.path: file for file in files}
    for file in files:
        if not file.path.endswith(".md"):
            continue
        yield from _links(file, by_path)
        if file.path.startswith("docs/decisions/") and file.name != "README.md":
            yield from _decision(file)
        yield from _tables(file, by_path)
        if file.path == "docs/architecture.md":
            yield from _layer_table(file)


def _links(file, by_path):
    folders = {path.rsplit("/", n)[0] for path in by_path for n in range(1, path.count("/") + 1)}
    for line, text in enumerate(file.lines, 1):
        for target in LINK.findall(text):
            if re.match(r"^(https?:|mailto:|#)", target):
                continue
            parts = file.parts[:-1]
            for step in target.split("#")[0].rstrip("/").split("/"):
                parts = parts[:-1] if step == ".." else parts if step == "." else parts + [step]
            path = "/".join(parts)
            if path not in by_path and path not in folders:
                yield file, line, "link", f"{target} is not there"


def _decision(file):
    if not DECISION_NAME.match(file.path):
        yield file, 1, "decision", "named NNNN-words-like-this.md"
    if not file.text.startswith("# "):
        yield file, 1, "decision", "begins with its title"
    for part in DECISION_PARTS:
        if not re.search("(?m)^" + re.escape(part), file.text):
            yield file, 1, "decision", f"{part} is missing"


def _rows(file, line):
    """(line number, cells) of the table that begins behind `line`, without its heading."""
    rows = []
    for number, text in enumerate(file.lines[line:], line + 1):
        if not text.strip() and not rows:
            continue
        if not text.lstrip().startswith("|"):
            break
        rows.append((number, [cell.strip() for cell in text.strip().strip("|").split("|")]))
    return rows[2:]


def _tables(file, by_path):
    for line, text in enumerate(file.lines, 1):
        constants, layout = CONSTANTS_MARK.search(text), LAYOUT_MARK.search(text)
        if not constants and not layout:
            continue
        path = (constants or layout)[1]
        header = by_path.get(path)
        if header is None:
            yield file, line, "formats", f"{path} is not there"
            continue
        rows = _rows(file, line)
        if not rows:
            yield file, line, "formats", "no table follows"
        elif constants:
            yield from _constants(file, header, rows)
        else:
            yield from _layout(file, line, header, layout[2], rows)


def _constants(file, header, rows):
    values = header_constants(header.text)
    for line, cells in rows:
        name, said = cells[0].strip("`"), cells[1].strip("`").replace(",", "")
        if name not in values:
            yield file, line, "formats", f"{name} is not a constant of {header.path}"
        elif values[name] is None:
            yield file, line, "formats", f"{name}: cannot evaluate it in {header.path}"
        elif evaluate(said, {}) != values[name]:
            yield file, line, "formats", f"{name} is {values[name]} in {header.path}, here {said}"


def _layout(file, line, header, struct, rows):
    """The table's first two columns are offset and size, as in the comment above the struct."""
    wanted = header_layout(header.text, struct)
    if not wanted:
        yield file, line, "formats", f"{header.path} has no layout comment above {struct}"
        return
    said = [(number, (cells[0], cells[1])) for number, cells in rows]
    for number, pair in said:
        if pair not in wanted:
            yield file, number, "formats", (f"offset {pair[0]}, size {pair[1]}: not in the "
                                            f"layout of {struct} in {header.path}")
    for pair in wanted:
        if pair not in [have for _, have in said]:
            yield file, line, "formats", (f"{struct} in {header.path} has a field at offset "
                                          f"{pair[0]} of size {pair[1]}; the table does not")


def header_layout(text, name):
    """[(offset, size)] from the comment directly above the declaration of `name`."""
    match = re.search(r"((?:^//[^\n]*\n)+)[^/\n][^\n]*\b" + name + r"\b", text, re.M)
    if not match:
        return []
    return re.findall(r"(?m)^//\s+(\d+)\s+(\d+)\s+\S", match[1])


def header_constants(text):
    """Names and values of the integer constants of a header; None where too complicated."""
    text = re.sub(r"//[^\n]*", "", text)
    values = {}
    for name, expression in CONSTANT.findall(text):
        values[name] = evaluate(expression, values)
    return values


def evaluate(expression, names):
    expression = re.sub(r"(?<=[0-9a-fA-F])(?:[uU]?[lL]{0,2}|[lL]{1,2}[uU])(?![0-9a-zA-Z_'])", "",
                        expression.replace("'", "")).strip()
    try:
        return _value(ast.parse(expression, mode="eval").body, names)
    except (SyntaxError, KeyError, TypeError):
        return None


def _value(node, names):
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, str)):
        return node.value
    if isinstance(node, ast.Name):
        return names[node.id]
    if isinstance(node, ast.BinOp):
        return OPERATORS[type(node.op)](_value(node.left, names), _value(node.right, names))
    raise TypeError(ast.dump(node))


def _layer_table(file):
    """docs/architecture.md shows the folders with the numbers that layers.py enforces."""
    shown = {}
    for line, text in enumerate(file.lines, 1):
        match = re.match(r"\s*src/(\w+)/\s+(\d)\s", text)
        if match:
            shown[match[1]] = int(match[2])
            if RANK.get(match[1]) != int(match[2]):
                yield file, line, "layers", f"{match[1]} is {RANK.get(match[1])} in layers.py"
    for folder in sorted(set(RANK) - set(shown)):
        yield file, 1, "layers", f"src/{folder}/ is not shown"
