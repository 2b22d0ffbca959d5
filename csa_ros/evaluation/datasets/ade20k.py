"""ADE20K with 150 classes: its folders, and what its annotations hold."""

from csa_ros.evaluation.datasets.benchmark import IGNORED
from csa_ros.evaluation.datasets.files import value_table
from csa_ros.evaluation.datasets.layout import Form
from csa_ros.evaluation.datasets.layout import Layout

ADE20K = Layout(
    title='ADE20K (scene parsing, 150 classes)',
    places=('ADEChallengeData2016', 'ade/ADEChallengeData2016', 'ADE/ADEChallengeData2016', ''),
    images=('images/validation',),
    annotations=('annotations/validation',),
    # 0 is anything else.
    forms=(Form('.png', value_table(
        {0: IGNORED, **{value: value - 1 for value in range(1, 151)}})),),
    counts=(2000,),
    source='Unpack http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip, so '
           'that there is ADEChallengeData2016 (the full ADE20K has other annotations)',
)
