"""Files as packages ship them. None was changed."""

from tests.corpus.case import Case, fit, refused, shipped

MONTHS = "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC"
STOCKS = "IBM AAPL MSFT XRX AMZN DELL GOOGL ADBE ^GSPC ^IXIC".split()


def _sklearn(name, expected, **options):
    return Case(
        f"scikit-learn {name}", shipped("sklearn", "datasets", "data", name), expected, options
    )


def _matplotlib(name, expected, **options):
    write = shipped("matplotlib", "mpl-data", "sample_data", name)
    return Case(f"matplotlib {name}", write, expected, options)


def _statsmodels(*parts, expected, **options):
    write = shipped("statsmodels", "datasets", *parts)
    return Case(f"statsmodels {'/'.join(parts)}", write, expected, options, ["statsmodels"])


def _vega(name, expected, **options):
    write = shipped("vega_datasets", "_data", name)
    return Case(f"vega_datasets {name}", write, expected, options, ["vega_datasets"])


def _penguins(name, expected, **options):
    write = shipped("palmerpenguins", "data", name)
    return Case(f"palmerpenguins {name}", write, expected, options, ["palmerpenguins"])


CASES = [
    # Its first line says how many rows, columns and classes there are.
    _sklearn(
        "iris.csv",
        fit(150, real="150 4 setosa versicolor", category="virginica", said="150, 4, setosa"),
    ),
    _sklearn(
        "wine_data.csv",
        fit(178, real="0 4 12", category="13", others=True, said="178,13,class_0"),
    ),
    _sklearn("breast_cancer.csv", fit(569, binary="30", others=True, said="569,30,malignant")),
    _sklearn("diabetes_data_raw.csv.gz", fit(442, real="0 2 3 4 5 6 7 8 9", binary="1")),
    _sklearn("diabetes_target.csv.gz", fit(442, count="0")),
    _sklearn("digits.csv.gz", fit(1797, category="64", others=True, aside={"0": "0"})),
    _sklearn("linnerud_exercise.csv", fit(20, count="Chins", real="Situps", positive="Jumps")),
    _sklearn("linnerud_physiological.csv", fit(20, real="Weight Waist Pulse")),
    _matplotlib("Stocks.csv", refused("'Date'", "date", "aside")),
    _matplotlib(
        "Stocks.csv",
        fit(391, others=True, missing=None, aside={"Date": ""}, said="133 row(s)"),
        types={"Date": "aside"},
    ),
    _matplotlib("msft.csv", refused("'Date'", "date", "aside")),
    _matplotlib(
        "msft.csv",
        fit(
            65,
            date="Date",
            real=["Open", "High", "Low", "Close", "Adj. Close*"],
            positive="Volume",
        ),
        types={"Date": "date"},
    ),
    _matplotlib("data_x_x2_x3.csv", fit(11, count="1 2", said="first column counts")),
    _matplotlib("jacksboro_fault_dem.npz", refused("arrays", "np.savez")),
    _matplotlib("goog.npz", refused("numbers")),
    # Tabs, and names in single quotes.
    _statsmodels(
        "anes96",
        "anes96.csv",
        expected=fit(
            944,
            count="popul income",
            real="age",
            category="TVnews selfLR ClinLR DoleLR PID educ",
            binary="vote",
        ),
    ),
    _statsmodels("anes96", "src", "anes96.csv", expected=fit(944, binary="vote", others=True)),
    _statsmodels("cancer", "cancer.csv", expected=fit(301, count="cancer population")),
    _statsmodels(
        "ccard",
        "ccard.csv",
        expected=fit(72, positive="AVGEXP INCOME INCOMESQ", real="AGE", binary="OWNRENT"),
    ),
    _statsmodels(
        "china_smoking",
        "china_smoking.csv",
        expected=refused("8 datapoints", "at least"),
    ),
    # Dates as numbers: 19580329.
    _statsmodels("co2", "co2.csv", expected=refused("'date'", "date", "aside")),
    _statsmodels(
        "co2",
        "co2.csv",
        expected=fit(2225, real="co2", aside={"date": ""}, said="59 row(s)"),
        types={"date": "aside"},
    ),
    _statsmodels(
        "committee",
        "committee.csv",
        expected=fit(20, binary="PRESTIGE", others=True, aside={"COMMITTEE": "differ"}),
    ),
    _statsmodels(
        "copper",
        "copper.csv",
        expected=fit(
            25,
            real="YEAR WORLDCONSUMPTION COPPERPRICE INCOMEINDEX ALUMPRICE INVENTORYINDEX",
            aside={"TIME": "counts"},
            said="'YEAR' rises by 1",
        ),
    ),
    # The first bytes are a byte order mark; its rows have quarters as names.
    _statsmodels(
        "danish_data",
        "data.csv",
        expected=fit(55, real="lrm lry lpy ibo ide", aside={"period": "differ"}),
    ),
    _statsmodels("interest_inflation", "E6_jmulti.csv", expected=fit(107, real="0 1")),
    _statsmodels("elec_equip", "elec_equip.csv", expected=refused("'DATE'", "date", "aside")),
    _statsmodels(
        "elnino", "elnino.csv", expected=fit(61, real=f"YEAR {MONTHS}", said="'YEAR' rises by 1")
    ),
    _statsmodels("engel", "engel.csv", expected=fit(235, positive="income", others=True)),
    _statsmodels(
        "fair",
        "fair.csv",
        expected=fit(
            6366,
            category=(
                "rate_marriage age yrs_married children religious educ occupation occupation_husb"
            ),
            real="affairs",
        ),
    ),
    _statsmodels(
        "fair",
        "fair_pt.csv",
        expected=fit(
            601,
            category="age nmarried religious education occupation rate_marriage naffairs",
            binary="sex nchildren",
            aside={"identifier": "name", "constant": "1"},
        ),
    ),
    # Wide, with gaps, and no values in the last year.
    _statsmodels(
        "fertility",
        "fertility.csv",
        expected=fit(
            210,
            real=[str(year) for year in range(1960, 2000)],
            others=True,
            missing=None,
            aside={
                "Country Name": "differ",
                "Country Code": "differ",
                "Indicator Name": "Fertility",
                "Indicator Code": "SP.DYN",
                "2013": "no values",
            },
        ),
    ),
    _statsmodels(
        "grunfeld",
        "grunfeld.csv",
        expected=fit(220, positive="invest capital value", category="firm", real="year"),
    ),
    _statsmodels(
        "heart", "heart.csv", expected=fit(69, count="survival", binary="censors", real="age")
    ),
    _statsmodels(
        "longley",
        "longley.csv",
        expected=fit(
            16,
            real="TOTEMP GNPDEFL GNP UNEMP ARMED POP YEAR",
            aside={"Obs": "counts"},
        ),
    ),
    _statsmodels(
        "modechoice",
        "modechoice.csv",
        expected=fit(
            840,
            category="mode psize",
            binary="choice",
            count="ttme invc invt hinc",
            others=True,
        ),
    ),
    _statsmodels(
        "nile", "nile.csv", expected=fit(100, real="year volume", said="'year' rises by 1")
    ),
    _statsmodels(
        "randhie",
        "randhie.csv",
        expected=fit(20190, count="mdvis", binary="idp hlthg hlthf hlthp", others=True),
    ),
    # A page of explanations above the table.
    _statsmodels(
        "scotland",
        "src",
        "scotland_population.csv",
        expected=fit(33, count=["Area (sq km)"], others=True, missing=None, said="15 line(s)"),
    ),
    # Names in single quotes, spaces between the columns, and numbers of the rows.
    _statsmodels(
        "spector",
        "spector.csv",
        expected=fit(32, real="GPA", binary="PSI GRADE", others=True, aside={"OBS": "counts"}),
    ),
    _statsmodels(
        "statecrime",
        "statecrime.csv",
        expected=fit(
            51,
            real="hs_grad white urban",
            others=True,
            aside={"state": "differ"},
        ),
    ),
    _statsmodels("strikes", "strikes.csv", expected=fit(62, count="duration", category="iprod")),
    _statsmodels(
        "sunspots",
        "sunspots.csv",
        expected=fit(309, real="YEAR SUNACTIVITY", said="'YEAR' rises by 1"),
    ),
    # Ten lines of explanations above the table, and one name too many.
    _statsmodels(
        "macrodata",
        "src",
        "unemp.csv",
        expected=fit(
            203,
            real="Year Value",
            category="Period",
            missing=None,
            aside={"Series id": "LNS14000000Q"},
            said="above the table",
        ),
    ),
    _vega(
        "airports.csv",
        fit(
            3376,
            real="latitude longitude",
            category="state country",
            missing=None,
            aside={"iata": "differ", "name": "differ", "city": ""},
        ),
    ),
    _vega("iowa-electricity.csv", refused("'year'", "date", "aside")),
    _vega(
        "la-riots.csv",
        fit(
            63,
            positive="age",
            binary="gender",
            category="race type",
            real="longitude latitude",
            missing=None,
            aside={
                "first_name": "differ",
                "last_name": "differ",
                "address": "differ",
                "death_date": "",
                "neighborhood": "",
            },
        ),
        types={"death_date": "aside"},
    ),
    _vega("seattle-weather.csv", refused("'date'", "date", "aside")),
    _vega(
        "seattle-weather.csv",
        fit(1461, date="date", real="precipitation temp_max temp_min wind", category="weather"),
        types={"date": "date"},
    ),
    _vega("seattle-temps.csv", refused("'date'", "date", "aside")),
    _vega("cars.json", refused(".json")),
    _penguins(
        "penguins.csv",
        fit(
            344,
            category="species island year",
            real="bill_length_mm bill_depth_mm flipper_length_mm body_mass_g",
            binary="sex",
            missing=19,
        ),
    ),
    _penguins("penguins-raw.csv", refused("'Date Egg'", "date", "aside")),
    _penguins(
        "penguins-raw.csv",
        fit(
            344,
            category=["studyName", "Species", "Island"],
            binary=["Clutch Completion", "Sex"],
            real=[
                *("Culmen Length (mm)", "Culmen Depth (mm)"),
                *("Delta 15 N (o/oo)", "Delta 13 C (o/oo)"),
            ],
            others=True,
            missing=None,
            aside={
                "Region": "Anvers",
                "Stage": "Adult",
                "Individual ID": "",
                "Date Egg": "",
            },
        ),
        types={"Date Egg": "aside"},
    ),
]
